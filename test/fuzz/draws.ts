/** The random choices of a damaged input: a stream of its own for each seed, the same on every machine. */
export class Draws {
  private state: number;

  constructor(seed: number) {
    // Two rounds part the streams of neighbouring seeds.
    this.state = seed >>> 0;
    this.state = this.bits() ^ Math.floor(seed / 2 ** 32);
    this.bits();
  }

  /** 32 random bits (mulberry32). */
  bits(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  }

  /** A whole number below n. */
  below(n: number): number {
    return this.bits() % n;
  }

  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }

  of<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }
}

const TELLING = [0, 1, 2, 7, 8, 63, 127, 128, 255, 256, 32_767, 32_768, 65_535, 65_536, 10_000_000, 100_000_000];
const LARGE = [2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40, 2 ** 53 - 1];

/** Numbers that counts and lengths go wrong at, and the neighbours of the one that stands there. */
export function tellingNumber(draws: Draws, present: number): number {
  const kind = draws.below(4);
  if (kind === 0) return Math.max(0, present + draws.below(17) - 8);
  if (kind === 1) return present * (2 + draws.below(8));
  return draws.of(kind === 2 ? TELLING : [...TELLING, ...LARGE]);
}

/** Plain damage: bytes changed, taken out or put in, the end cut off. */
export function damageBytes(draws: Draws, bytes: Buffer): Buffer {
  if (bytes.length === 0) return bytes;
  const at = draws.below(bytes.length);
  switch (draws.below(5)) {
    case 0:
      return bytes.subarray(0, at);
    case 1:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + draws.below(8))]);
    case 2: {
      const from = draws.below(bytes.length);
      return Buffer.concat([
        bytes.subarray(0, at),
        bytes.subarray(from, from + 1 + draws.below(16)),
        bytes.subarray(at),
      ]);
    }
    default: {
      const changed = Buffer.from(bytes);
      for (let left = 1 + draws.below(3); left > 0; left--) changed[draws.below(changed.length)] = draws.below(256);
      return changed;
    }
  }
}
