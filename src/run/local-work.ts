/**
 * Finished local work of a round that is not complete, beside the checkpoint. The adapters of parts that were finished
 * together lie in one file; `round_<t>_work.json`, renamed into place last, says which files count. So parts that were
 * trained in one pass are kept all or none: what is left is trained with the company it would have had anyway.
 */
import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { FltacError, messageOf } from '../errors.js';
import type { EngineFace } from '../federation/engine.js';
import type { FinishedPart, LocalStore } from '../federation/executor.js';
import { checkpointFolder } from './checkpoint.js';
import { digestOfFile } from './digest.js';
import { writeJsonFile } from './files.js';
import type { Log } from './log.js';

const keptJob = z.object({
  client: z.int(),
  slot: z.int(),
  /** of each finished part; null stands for a loss that is not finite */
  losses: z.array(z.array(z.number().nullable())),
  /** why the client is left out of the round; without it the adapter is in `file` */
  failure: z.string().exactOptional(),
  file: z.string().exactOptional(),
});
type KeptJob = z.infer<typeof keptJob>;

const work = z.object({
  /** SHA-256 of each file of adapters */
  files: z.record(z.string(), z.string()),
  jobs: z.array(keptJob),
});

export class LocalWork implements LocalStore {
  readonly #face: EngineFace;
  readonly #folder: string;
  readonly #log: Log;
  #round = 0;
  #saved = 0;
  #files = new Map<string, string>();
  #jobs = new Map<string, KeptJob>();

  /** @param folder a run's folder */
  constructor(face: EngineFace, folder: string, log: Log) {
    this.#face = face;
    this.#folder = checkpointFolder(folder);
    this.#log = log;
  }

  /** Parts of local jobs that are kept of a round. */
  partsOf(round: number): number {
    if (round !== this.#round) return 0;
    return [...this.#jobs.values()].reduce((sum, { losses }) => sum + losses.length, 0);
  }

  /** What is damaged is left out, and the log says so. @throws FltacError IO */
  async *load(round: number): AsyncGenerator<readonly FinishedPart[]> {
    await this.#open(round);
    for (const file of [...this.#files.keys(), undefined]) {
      const jobs = [...this.#jobs.values()].filter((job) => job.file === file);
      const tensors = file === undefined ? undefined : await this.#face.readSafetensors(path.join(this.#folder, file));
      yield jobs.flatMap((job) => finishedParts(job, tensors?.get(jobName(job))?.data));
    }
  }

  /** @throws FltacError IO */
  async save(round: number, parts: readonly FinishedPart[]): Promise<void> {
    if (round !== this.#round) this.#begin(round);
    this.#saved += 1;
    const file = `round_${round}_work_${this.#saved}.safetensors`;
    const sound = parts.flatMap((part) => (part.adapter === undefined ? [] : [{ ...part, adapter: part.adapter }]));
    if (sound.length > 0) {
      const place = path.join(this.#folder, file);
      const tensors = sound.map(
        (part) => [jobName(part), { shape: [part.adapter.length], data: part.adapter }] as const,
      );
      await this.#face.writeSafetensors(place, new Map(tensors));
      this.#files.set(file, await digestOfFile(place));
    }
    for (const part of parts) this.#keep(part, file);
    const used = new Set([...this.#jobs.values()].map((job) => job.file));
    const unused = [...this.#files.keys()].filter((name) => !used.has(name));
    unused.forEach((name) => this.#files.delete(name));
    await writeJsonFile(this.#index(round), {
      files: Object.fromEntries(this.#files),
      jobs: [...this.#jobs.values()],
    });
    for (const name of unused) await rm(path.join(this.#folder, name), { force: true });
  }

  #keep({ client, slot, losses, failure }: FinishedPart, file: string): void {
    const name = jobName({ client, slot });
    const earlier = this.#jobs.get(name)?.losses ?? [];
    const job = { client, slot, losses: [...earlier, Array.from(losses, (loss) => finiteOrNull(loss))] };
    this.#jobs.set(name, failure === undefined ? { ...job, file } : { ...job, failure });
  }

  #begin(round: number): void {
    this.#round = round;
    this.#saved = 0;
    this.#files.clear();
    this.#jobs.clear();
  }

  async #open(round: number): Promise<void> {
    this.#begin(round);
    const found = await this.#read(round);
    if (found === undefined) return;
    const sound = new Set<string>();
    for (const [name, sha256] of Object.entries(found.files)) {
      const number = /^round_\d+_work_(\d+)\.safetensors$/.exec(name)?.[1];
      if (number === undefined) continue;
      this.#saved = Math.max(this.#saved, Number(number));
      const hash = await digestOfFile(path.join(this.#folder, name)).catch(() => undefined);
      if (hash !== sha256) continue;
      sound.add(name);
      this.#files.set(name, sha256);
    }
    const kept = found.jobs.filter(
      (job) => job.failure !== undefined || (job.file !== undefined && sound.has(job.file)),
    );
    kept.forEach((job) => this.#jobs.set(jobName(job), job));
    if (kept.length < found.jobs.length) this.#tell(round, `${found.jobs.length - kept.length} local jobs`);
  }

  async #read(round: number): Promise<z.infer<typeof work> | undefined> {
    const file = this.#index(round);
    let text: string;
    try {
      text = await readFile(file, 'utf8');
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw new FltacError('IO', `${file} cannot be read: ${messageOf(cause)}`, { cause });
    }
    try {
      return work.parse(JSON.parse(text));
    } catch {
      this.#tell(round, 'all local jobs');
      return undefined;
    }
  }

  #tell(round: number, what: string): void {
    this.#log.warn(`kept local work of round ${round} in ${this.#folder} is damaged: ${what} are done again`);
  }

  #index(round: number): string {
    return path.join(this.#folder, `round_${round}_work.json`);
  }
}

function jobName({ client, slot }: { client: number; slot: number }): string {
  return `client_${client}.slot_${slot}`;
}

/** Only the last part's adapter counts. */
function finishedParts({ client, slot, losses, failure }: KeptJob, adapter: Float32Array | undefined): FinishedPart[] {
  return losses.map((values, part) => {
    const finished = { client, slot, part, losses: Float64Array.from(values, (loss) => loss ?? NaN) };
    if (part < losses.length - 1) return finished;
    if (failure !== undefined) return { ...finished, failure };
    return { ...finished, ...(adapter === undefined ? {} : { adapter }) };
  });
}

function finiteOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
