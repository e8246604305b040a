/** Named lists of shapes for `fltac bench kmeans`. */
import type { KmeansBenchShape } from './kmeans-report.js';

const BERT_RANK_4 = 148_994; // 12 layers x (query, value) x 4 x (768 + 768), and a head of 1,538
const BERT_RANK_16 = 591_362; // the same with rank 16
const LLAMA_RANK_8 = 4_194_304; // 32 layers x (q, v) x 8 x (4,096 + 4,096)

const FAISS_ITERATIONS = 25; // its default; it has no other stop

interface Preset {
  meaning: string;
  shapes: readonly KmeansBenchShape[];
}

const problem = (rows: number, columns: number, k: number, more: Partial<KmeansBenchShape> = {}): KmeansBenchShape => ({
  batch: 1,
  rows,
  columns,
  k,
  nInit: 10,
  maxIter: 300,
  ...more,
});

export const KMEANS_PRESETS: Readonly<Record<string, Preset>> = {
  bert: { meaning: '50 adapters of BERT-base, rank 4', shapes: [problem(50, BERT_RANK_4, 5)] },
  'bert-16': { meaning: '50 adapters of BERT-base, rank 16', shapes: [problem(50, BERT_RANK_16, 5)] },
  llama: { meaning: '80 adapters of LLaMA-7B, rank 8', shapes: [problem(80, LLAMA_RANK_8, 8)] },
  many: { meaning: '1,000 adapters of BERT-base, rank 4', shapes: [problem(1000, BERT_RANK_4, 5)] },
  adapters: {
    meaning: 'the four above',
    shapes: [
      problem(50, BERT_RANK_4, 5),
      problem(50, BERT_RANK_16, 5),
      problem(80, LLAMA_RANK_8, 8),
      problem(1000, BERT_RANK_4, 5),
    ],
  },
  points: {
    meaning: 'many short points: 100,000 x 128, and 1,000,000 x 64 with one start',
    shapes: [
      problem(100_000, 128, 100, { maxIter: FAISS_ITERATIONS }),
      problem(1_000_000, 64, 256, { nInit: 1, maxIter: FAISS_ITERATIONS }),
    ],
  },
  gpu: {
    meaning: 'for a GPU: 1,000,000 x 128, and 32 problems of 74,256 x 128, k 1000',
    shapes: [
      problem(1_000_000, 128, 1000, { nInit: 1, maxIter: FAISS_ITERATIONS }),
      problem(74_256, 128, 1000, { batch: 32, nInit: 1, maxIter: FAISS_ITERATIONS }),
    ],
  },
};
