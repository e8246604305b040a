/** A folder of its own for one fault; see room.mjs. */
export class Room {
  readonly folder: string;
}
