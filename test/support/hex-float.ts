/** A double as Python's `float.hex` writes it. */
export function fromHex(text: string): number {
  if (text === 'inf') return Infinity;
  const match = /^(-?)0x([01])\.([0-9a-f]+)p([+-]\d+)$/.exec(text);
  if (match === null) throw new Error(`${text} is not written as float.hex writes doubles`);
  const [, sign, whole, fraction, exponent] = match;
  const digits = Number(BigInt(`0x${whole!}${fraction!}`));
  const power = Number(exponent) - 4 * fraction!.length;
  // In two exact steps: 2^power alone may be too small for a double where the product is not.
  const half = Math.trunc(power / 2);
  const value = digits * 2 ** half * 2 ** (power - half);
  return sign === '-' ? -value : value;
}

export function allFromHex(texts: readonly string[]): number[] {
  return texts.map(fromHex);
}
