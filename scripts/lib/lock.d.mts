export function processAlive(pid: number): boolean;
export function takeLock(path: string, log: (message: string) => void): Promise<() => void>;
