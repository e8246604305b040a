/** The scores that the paper states (Ping et al., 2024, arXiv 2404.15384, tables of GLUE and CIFAR), by scenario. */

export interface PublishedScores {
  /** what they were measured with */
  readonly model: string;
  readonly rows: readonly { readonly method: string; readonly scores: readonly (number | null)[] }[];
}

type Table = Readonly<Record<string, Readonly<Record<string, number>>>>;

const GLUE: Table = {
  'FL-TAC': { qnli: 0.787, qqp: 0.807, sst2: 0.874, rte: 0.532, mrpc: 0.673 },
  FedIT: { qnli: 0.67, qqp: 0.51, sst2: 0.652, rte: 0.524, mrpc: 0.52 },
  'centralised LoRA': { qnli: 0.792, qqp: 0.813, sst2: 0.884, rte: 0.552, mrpc: 0.685 },
  'full fine-tuning': { qnli: 0.901, qqp: 0.875, sst2: 0.923, rte: 0.657, mrpc: 0.84 },
};

const CIFAR: Table = {
  'FL-TAC': { cifar10: 0.946, cifar100: 0.884 },
  FedIT: { cifar10: 0.935, cifar100: 0.854 },
  'centralised LoRA': { cifar10: 0.95, cifar100: 0.899 },
  'full fine-tuning': { cifar10: 0.987, cifar100: 0.92 },
};

const TABLES: Readonly<Record<string, { model: string; table: Table }>> = {
  glue: { model: 'BERT-base', table: GLUE },
  cifar: { model: 'ViT-base', table: CIFAR },
};

/** The paper's scores of a scenario on these tasks, or null where it has none. */
export function publishedScores(scenario: string, tasks: readonly string[]): PublishedScores | null {
  const found = TABLES[scenario];
  if (found === undefined) return null;
  const rows = Object.entries(found.table).map(([method, scores]) => ({
    method,
    scores: tasks.map((task) => scores[task] ?? null),
  }));
  return { model: found.model, rows };
}
