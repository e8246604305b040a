import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { loadConfig } from '../../src/config/index.js';
import { packagedFile } from '../../src/config/packaged.js';
import { findTaskFiles } from '../../src/data/custom-files.js';
import { silentLog } from '../../src/run/log.js';
import { temporaryFolder } from '../support/files.js';

/** Goes to an empty folder until the test ends. */
function elsewhere(): string {
  const before = process.cwd();
  const folder = temporaryFolder();
  process.chdir(folder);
  onTestFinished(() => process.chdir(before));
  return folder;
}

describe("the package's configurations", () => {
  it('are found from any folder, which is told', () => {
    elsewhere();
    const { config, warnings } = loadConfig({ file: 'configs/glue_bert.yaml', env: {} });
    expect(config.scenario).toBe('glue');
    expect(warnings).toEqual([
      expect.stringMatching(/^there is no configs\/glue_bert\.yaml here: .+ is taken, which comes with fltac$/),
    ]);
  });

  it("find their data there, too, for they name it from the package's folder", async () => {
    elsewhere();
    const { config } = loadConfig({ file: 'configs/custom_text.yaml', env: {} });
    for (const [name, task] of Object.entries(config.data!)) {
      const { train } = await findTaskFiles(name, task, config, { log: silentLog() });
      expect(train.every((file) => existsSync(file))).toBe(true);
    }
  });

  it("give way to the user's own, and lend no other file", () => {
    const folder = elsewhere();
    mkdirSync(join(folder, 'configs'));
    writeFileSync(join(folder, 'configs', 'glue_bert.yaml'), 'rounds: 3\n');
    const { config, warnings } = loadConfig({ file: 'configs/glue_bert.yaml', env: {} });
    expect([config.rounds, warnings]).toEqual([3, []]);
    for (const path of ['package.json', 'configs/../package.json', 'configs/none.yaml']) {
      expect(packagedFile(path)).toBe(path);
    }
  });
});
