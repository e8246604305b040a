/** `148,994`, or with what is counted `148,994 columns`, `1 start`. */
export function counted(count: number, noun?: string): string {
  const number = count.toLocaleString('en');
  return noun === undefined ? number : `${number} ${noun}${count === 1 ? '' : 's'}`;
}
