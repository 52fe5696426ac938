// Which frame is shown, and the clock that plays them: real time, half or a quarter of it.

export const SPEEDS = [1, 0.5, 0.25];

export class Player {
  constructor(onFrame, onState) {
    this.onFrame = onFrame;
    this.onState = onState;
    this.frame = 0;
    this.count = 1;
    this.fps = 50;
    this.speed = 1;
    this.playing = false;
  }

  open(video, frame = 0) {
    this.pause();
    this.count = video.n_frames;
    this.fps = video.fps > 0 ? Math.min(video.fps, 120) : 50;
    this.go(frame);
  }

  go(frame) {
    const within = Math.min(this.count - 1, Math.max(0, Math.round(frame)));
    this.frame = within;
    this.start = { frame: within, at: performance.now() };
    this.onFrame(within);
  }

  step(by) {
    this.pause();
    this.go(this.frame + by);
  }

  setSpeed(speed) {
    this.speed = speed;
    this.start = { frame: this.frame, at: performance.now() };
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  play() {
    if (this.playing || this.count < 2) return;
    this.playing = true;
    this.start = { frame: this.frame, at: performance.now() };
    this.onState(true);
    const tick = () => {
      if (!this.playing) return;
      const passed = ((performance.now() - this.start.at) / 1000) * this.fps * this.speed;
      const frame = Math.floor(this.start.frame + passed) % this.count;
      if (frame !== this.frame) {
        this.frame = frame;
        this.onFrame(frame);
      }
      this.request = requestAnimationFrame(tick);
    };
    this.request = requestAnimationFrame(tick);
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    cancelAnimationFrame(this.request);
    this.onState(false);
  }
}

// "  12 / 121   0.24 s" into an element, always as wide as for the last frame.
export function showTime(element, frame, count, fps) {
  const words = `${String(frame).padStart(String(count - 1).length, " ")} / ${count - 1}`;
  const seconds = fps > 0 ? `   ${(frame / fps).toFixed(2)} s` : "";
  if (!element.lastChild) element.append(document.createElement("span"), document.createElement("span"));
  element.lastChild.className = "seconds";
  element.firstChild.textContent = words;
  element.lastChild.textContent = seconds;
}

// The wheel scrubs: a notch of a mouse is a frame, a touchpad's small steps add up.
export function wheelSteps(element, onSteps) {
  let rest = 0;
  element.addEventListener(
    "wheel",
    (event) => {
      if (event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      const notch = event.deltaMode === 1 ? event.deltaY * 40 : event.deltaY;
      rest += Math.abs(notch) >= 50 ? Math.sign(notch) * 40 : notch;
      const steps = Math.trunc(rest / 40);
      rest -= steps * 40;
      if (steps) onSteps(steps, event);
    },
    { passive: false },
  );
}
