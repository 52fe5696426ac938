// Undo and redo without limit. A state is never changed in place, so keeping all of them costs little.

export class History {
  constructor(state) {
    this.past = [];
    this.present = state;
    this.future = [];
  }

  get canUndo() {
    return this.past.length > 0;
  }

  get canRedo() {
    return this.future.length > 0;
  }

  push(state) {
    this.past.push(this.present);
    this.present = state;
    this.future = [];
  }

  undo() {
    if (!this.canUndo) return null;
    this.future.push(this.present);
    this.present = this.past.pop();
    return this.present;
  }

  redo() {
    if (!this.canRedo) return null;
    this.past.push(this.present);
    this.present = this.future.pop();
    return this.present;
  }
}
