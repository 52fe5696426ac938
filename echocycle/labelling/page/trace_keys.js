// Keys of the trace screen, with the words that the help overlay shows.

export function traceKeys(screen) {
  const { player, editor } = screen;
  const key = (on, show, words, run) => ({ on: [on].flat(), show, words, run });
  const nudge = (name, dx, dy) => [
    key(`Shift+${name}`, "", "", () => editor.nudge(dx, dy)),
    key(`Alt+Shift+${name}`, "", "", () => editor.nudge(5 * dx, 5 * dy)),
  ];
  return [
    {
      title: "Time",
      keys: [
        key("Space", "Space", "Play or pause", () => player.toggle()),
        key("ArrowLeft", "←", "One frame back; the wheel does it too", () => player.step(-1)),
        key("ArrowRight", "→", "One frame on", () => player.step(1)),
        key("PageUp", "PageUp", "Ten frames back", () => player.step(-10)),
        key("PageDown", "PageDown", "Ten frames on", () => player.step(10)),
        key("Home", "Home", "First frame", () => screen.go(0)),
        key("End", "End", "Last frame", () => screen.go(player.count - 1)),
        key("r", "R", "Speed: 1, ½, ¼", () => screen.nextSpeed()),
        key("z", "Z", "Zoom in or out", () => screen.session && screen.zoom()),
        key("1", "1", "Go to ED", () => screen.goPhase("ed")),
        key("2", "2", "Go to ES", () => screen.goPhase("es")),
        key("e", "E", "This frame is ED", () => screen.setPhase("ed", player.frame)),
        key("s", "S", "This frame is ES", () => screen.setPhase("es", player.frame)),
      ],
    },
    {
      title: "Contour",
      keys: [
        key(["]"], "]", "Choose the next handle", () => editor.choose(1)),
        key(["["], "[", "Choose the handle before", () => editor.choose(-1)),
        { show: "Shift + arrows", words: "Move the chosen handle by a pixel, or the whole contour (with Alt: five)" },
        key("a", "A", "Add a handle after the chosen one", () => editor.addAfter()),
        key(["Delete", "Backspace"], "Delete", "Remove the chosen handle", () => screen.removeHandle()),
        key(["+", "="], "+", "Larger by 2 %", () => editor.scale(1.02)),
        key(["-"], "−", "Smaller by 2 %", () => editor.scale(1 / 1.02)),
        key("p", "P", "Propose a contour in this frame", () => screen.proposeHere()),
        key("Escape", "Esc", "Choose no handle", () => screen.chooseNone()),
        key("Ctrl+z", "Ctrl Z", "Undo", () => screen.undo()),
        key(["Ctrl+y", "Ctrl+Shift+z"], "Ctrl Y", "Redo", () => screen.redo()),
        ...nudge("ArrowLeft", -1, 0), ...nudge("ArrowRight", 1, 0), ...nudge("ArrowUp", 0, -1), ...nudge("ArrowDown", 0, 1),
      ],
    },
    {
      title: "Video",
      keys: [
        key("Enter", "Enter", "Accept the proposal", () => screen.accept()),
        key("v", "V", "Mark as checked", () => screen.check()),
        key("x", "X", "Skip with a reason", () => screen.skipKey()),
        key("n", "N", "Next video", () => screen.next()),
        key("g", "G", "Ghosts on or off", () => screen.toggleGhosts()),
        key("c", "C", "Second reader's contour", () => screen.compareKey()),
      ],
    },
    {
      title: "With mouse, pen or finger",
      keys: [
        { gesture: "Drag", words: "a handle; inside the curve the whole contour; its round grip scales it" },
        { gesture: "Double click", words: "on the curve adds a handle" },
        { gesture: "Drag beside", words: "the contour goes through the frames" },
        { gesture: "Two fingers", words: "move and scale the contour" },
      ],
    },
  ];
}
