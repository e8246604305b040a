/** NumPy's random streams; see `Generator` for what is equal to the bit. */
export { Generator } from './generator.js';
export { pairwiseSum } from './pairwise-sum.js';
