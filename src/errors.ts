/** Few classes, by what the caller can do about it. Every message says what was asked, what came, and what to do. */

/** The caller's input or option is wrong: change the call. */
export class InputError extends Error {
  override readonly name: string = 'InputError';
  /** The place in the caller's list of the input that is wrong, counted from 0, where it is about one of several. */
  declare input?: number;
}

/** Files do not hold what they should: mend or change the checkpoint. */
export class CheckpointError extends Error {
  override readonly name: string = 'CheckpointError';
}

/** The machine cannot do it: choose another backend, precision or policy. */
export class DeviceError extends Error {
  override readonly name: string = 'DeviceError';
}

/** The GPU went away while it was used: call again. The next call takes a new device and reads the weights anew. */
export class DeviceLostError extends DeviceError {
  override readonly name: string = 'DeviceLostError';
}

/** A file or server could not be reached or broke off: try again, or look at the path. */
export class SourceError extends Error {
  override readonly name: string = 'SourceError';
  /** The place in the caller's list of the input that was not there, counted from 0, where it is about one of several. */
  declare input?: number;
}
