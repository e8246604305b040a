/** NumPy's random streams, bit for bit. */
export { Generator } from './generator.js';
export { pairwiseSum } from './pairwise-sum.js';
