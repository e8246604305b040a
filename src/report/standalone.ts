/** Pictures as files of their own. */
import { LIGHT, withoutVariables } from './palette.js';

/** A picture that needs no page around it: the light theme's colours on its background. */
export function standalone(svg: string): string {
  const opaque = svg.replace('background: transparent', `background: ${LIGHT.background}`);
  return `<?xml version="1.0" encoding="UTF-8"?>\n${withoutVariables(opaque)}\n`;
}
