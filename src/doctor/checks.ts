/** Judges the facts: one row each, with the fix where something is wrong. Pure. */
import { BUILD_COMMAND as BUILD } from '../engine/load.js';
import type { DoctorFacts } from './facts.js';
import type { HubAnswer } from './hub.js';

export interface DoctorCheck {
  name: string;
  ok: boolean;
  found: string;
  fix?: string;
}

/** The quickstart trains in less; real backbones need their own size and a half. */
const LEAST_MEMORY = 2e9;
/** A GLUE run keeps a model (440 MB), its data and its adapters. */
const LEAST_DISK = 2e9;
/** What the embedded quickstart cannot do without. */
const QUICKSTART_FILES = ['config.json', 'model.safetensors', 'tokenizer.json'];

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;

function check(name: string, ok: boolean, found: string, fix: string): DoctorCheck {
  return ok ? { name, ok, found } : { name, ok, found, fix };
}

/** A built engine needs no build tools: then a missing one is told, not held against the machine. */
function toolChecks(facts: DoctorFacts): DoctorCheck[] {
  const built = facts.addon.state === 'loaded';
  return facts.tools.map((tool) =>
    check(
      tool.name,
      tool.ok || (built && tool.name !== 'Node'),
      tool.ok ? tool.found : `${tool.found} (a build needs ${tool.required})`,
      tool.fix,
    ),
  );
}

/** A build fetches libtorch with pip, unless there is one already or an archive is named. */
function pythonCheck({ python, libtorch, addon, platform }: DoctorFacts): DoctorCheck {
  const here = python === undefined ? 'not found' : `${python.version}${python.pip ? ' with pip' : ' without pip'}`;
  const needed =
    libtorch.kind !== 'use' &&
    addon.state !== 'loaded' &&
    !(libtorch.kind === 'install' && libtorch.method === 'archive');
  const found = needed ? here : 'not needed: a build does not fetch libtorch with pip here';
  const fix = platform === 'darwin' ? 'brew install python' : 'sudo apt-get install python3 python3-pip';
  return check('Python with pip', !needed || python?.pip === true, found, fix);
}

function libtorchCheck({ libtorch, addon }: DoctorFacts): DoctorCheck {
  const name = 'libtorch';
  switch (libtorch.kind) {
    case 'use': {
      const kind = libtorch.cuda ? 'CUDA' : 'CPU';
      return check(name, true, `${libtorch.version} (${kind}) from ${libtorch.source}: ${libtorch.prefix}`, '');
    }
    case 'install':
      return check(name, addon.state === 'loaded', 'none here; a build installs one into .libtorch/', BUILD);
    case 'error': {
      const [found = '', ...ways] = libtorch.message.split('\n').map((line) => line.trim().replace(/^fix: /, ''));
      return check(name, false, found, ways.length > 0 ? ways.join('\n') : found);
    }
  }
}

function addonChecks({ addon, requiredAbi }: DoctorFacts): DoctorCheck[] {
  const name = 'native engine';
  if (addon.state === 'failed') return [check(name, false, addon.reason, BUILD)];
  const built = `interface ${addon.abiVersion} on libtorch ${addon.libtorch}, ${addon.threads} threads, kernels for ${addon.cpu}`;
  const fits = addon.abiVersion === requiredAbi;
  return [
    check(name, fits, fits ? built : `${built}; interface ${requiredAbi} is needed`, BUILD),
    check('CUDA', true, addon.cuda ? 'available to the engine' : 'not used: this build or machine has none', ''),
  ];
}

function hubChecks({ hub, hubAnswer }: DoctorFacts): DoctorCheck[] {
  if (hub.state === 'failed') return [check('Hub settings', false, hub.reason, 'correct the variable it names')];
  const parts = [
    hub.endpoint,
    `token ${hub.token ? 'set' : 'not set'}`,
    hub.offline ? 'offline (HF_HUB_OFFLINE)' : 'online',
    ...(hub.proxy ? ['through a proxy'] : []),
  ];
  return [
    check('Hub settings', true, parts.join(', '), ''),
    check('Hub cache', true, hub.cacheDir, ''),
    ...(hubAnswer === undefined ? [] : [answerCheck(hubAnswer)]),
  ];
}

/** Any answer shows that the network is there; 401 to a token, that the Hub does not take it. */
function answerCheck(answer: HubAnswer): DoctorCheck {
  const name = 'Hub answer';
  if (answer.state === 'unreachable') {
    const ways = 'check the network and HTTPS_PROXY, or set HF_HUB_OFFLINE=1 to use only what is in the cache';
    return check(name, false, `none: ${answer.reason}`, ways);
  }
  const { status, ms, tokenSent } = answer;
  if (status >= 500) return check(name, false, `status ${status} in ${ms} ms`, 'try again later');
  if (tokenSent && (status === 401 || status === 403)) {
    return check(name, false, `it refuses the token (${status})`, 'set HF_TOKEN to a valid one, or unset it');
  }
  const token = tokenSent && status === 200 ? ', and takes the token' : '';
  return check(name, true, `it answers in ${ms} ms${token}`, '');
}

function quickstartCheck({ quickstart }: DoctorFacts): DoctorCheck {
  const missing = QUICKSTART_FILES.filter((file) => !quickstart.some((path) => path.split('/').at(-1) === file));
  const found = missing.length === 0 ? 'complete' : `quickstart/ has no ${missing.join(', ')}`;
  return check('quickstart files', missing.length === 0, found, 'install fltac again, or restore quickstart/ with git');
}

/** Every row of the report, in the order it is shown. */
export function judge(facts: DoctorFacts): DoctorCheck[] {
  const { cpu, memoryBytes, disk } = facts;
  const supported = ['linux', 'darwin'].includes(facts.platform);
  const threads = `${cpu.cores} threads${cpu.ompThreads === undefined ? '' : `, OMP_NUM_THREADS=${cpu.ompThreads}`}`;
  return [
    check('platform', supported, `${facts.platform}-${facts.arch}`, 'use Linux or macOS (on Windows: WSL 2)'),
    ...toolChecks(facts),
    pythonCheck(facts),
    libtorchCheck(facts),
    ...addonChecks(facts),
    check('CPU', true, `${cpu.model}, ${cpu.level}, ${threads}`, ''),
    check(
      'memory',
      memoryBytes >= LEAST_MEMORY,
      gigabytes(memoryBytes),
      `at least ${gigabytes(LEAST_MEMORY)} are needed`,
    ),
    check(
      'disk space',
      disk.freeBytes >= LEAST_DISK,
      `${gigabytes(disk.freeBytes)} free in ${disk.folder}`,
      `free ${gigabytes(LEAST_DISK)}, or run in another folder`,
    ),
    ...hubChecks(facts),
    quickstartCheck(facts),
  ];
}
