// Follows NumPy's random/bit_generator.pyx (MIT; see THIRD_PARTY_NOTICES.md).
import { FltacError } from '../errors.js';

/** Words in the entropy pool: 128 bits. */
const POOL_SIZE = 4;
const INIT_A = 0x43b0d7e5;
const MULT_A = 0x931e8875;
const INIT_B = 0x8b51f9dd;
const MULT_B = 0x58f38ded;
const MIX_LEFT = 0xca01f9dd;
const MIX_RIGHT = 0x4973f715;

/**
 * NumPy's `SeedSequence(seed)`: spreads a seed of any size over the state of a bit generator (M. E. O'Neill's
 * `seed_seq_fe`, with NumPy's pool of four words).
 */
export class SeedSequence {
  private readonly pool: Uint32Array;

  /**
   * @param seed an integer of 0 or more; a number beyond 2^53 must be given as a bigint
   * @throws FltacError USAGE for anything else
   */
  constructor(seed: number | bigint) {
    this.pool = mixEntropy(entropyWords(seed));
  }

  /** `generate_state(words)`: that many 32-bit words. */
  generateState(words: number): Uint32Array {
    const state = new Uint32Array(words);
    let hash = INIT_B;
    for (let i = 0; i < words; i++) {
      const value = this.pool[i % POOL_SIZE]! ^ hash;
      hash = Math.imul(hash, MULT_B);
      const mixed = Math.imul(value, hash);
      state[i] = mixed ^ (mixed >>> 16);
    }
    return state;
  }
}

/** The seed's 32-bit words, least significant first; 0 is one word. */
function entropyWords(seed: number | bigint): number[] {
  if (typeof seed === 'number' ? !Number.isSafeInteger(seed) || seed < 0 : seed < 0n) {
    throw new FltacError('USAGE', `a seed must be an integer of 0 or more (above 2^53 as a bigint), not ${seed}`);
  }
  const words: number[] = [];
  let rest = BigInt(seed);
  do {
    words.push(Number(rest & 0xffffffffn));
    rest >>= 32n;
  } while (rest > 0n);
  return words;
}

function mixEntropy(entropy: readonly number[]): Uint32Array {
  const pool = new Uint32Array(POOL_SIZE);
  let hash = INIT_A;
  const scramble = (word: number): number => {
    const value = word ^ hash;
    hash = Math.imul(hash, MULT_A);
    const mixed = Math.imul(value, hash);
    return mixed ^ (mixed >>> 16);
  };
  for (let i = 0; i < POOL_SIZE; i++) pool[i] = scramble(entropy[i] ?? 0);
  for (let from = 0; from < POOL_SIZE; from++) {
    for (let to = 0; to < POOL_SIZE; to++) {
      if (from !== to) pool[to] = mix(pool[to]!, scramble(pool[from]!));
    }
  }
  for (const word of entropy.slice(POOL_SIZE)) {
    for (let to = 0; to < POOL_SIZE; to++) pool[to] = mix(pool[to]!, scramble(word));
  }
  return pool;
}

function mix(x: number, y: number): number {
  const mixed = (Math.imul(MIX_LEFT, x) - Math.imul(MIX_RIGHT, y)) | 0;
  return mixed ^ (mixed >>> 16);
}
