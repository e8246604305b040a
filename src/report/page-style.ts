/** The report's style sheet: light and dark, narrow and wide, screen and paper. */
import { DARK, LIGHT, cssVariables } from './palette.js';

export const STYLE = `
:root{color-scheme:light;${cssVariables(LIGHT)}}
@media (prefers-color-scheme:dark){:root:not([data-theme=light]){color-scheme:dark;${cssVariables(DARK)}}}
:root[data-theme=dark]{color-scheme:dark;${cssVariables(DARK)}}
*{box-sizing:border-box}
body{margin:0;background:var(--background);color:var(--text);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main,header{max-width:1400px;margin:0 auto;padding:0 20px}
header{padding-top:24px;display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start;justify-content:space-between}
h1{font-size:26px;line-height:1.2;margin:0 0 4px}
h2{font-size:20px;margin:40px 0 12px;padding-top:12px;border-top:1px solid var(--line)}
h3{font-size:16px;margin:0 0 8px}
p{margin:0 0 10px}
.scroll+h3{margin-top:24px}
.muted,figcaption,nav{color:var(--muted)}
.headline{font-size:15px;padding:10px 14px;margin:8px 0;background:var(--panel);border-left:4px solid var(--accent,var(--series-0));border-radius:4px}
.headline strong{margin-right:6px}
.partial{border-left-style:dashed}
nav a{color:inherit;margin-right:14px;white-space:nowrap}
.grid{columns:560px;column-gap:20px}
figure,.absent{display:inline-block;width:100%;margin:0 0 20px;padding:16px;background:var(--panel);border-radius:8px;break-inside:avoid}
figcaption{font-size:13px;margin-top:8px}
.picture{overflow-x:auto}
.picture svg{display:block;width:100%;min-width:480px;height:auto;margin:0 auto}
.still{display:none}
.absent p{margin:0;font-size:14px}
.slider{display:flex;gap:10px;align-items:center;margin:0 0 8px;font-size:14px}
.slider input{flex:1;accent-color:var(--series-0)}
.slider output{min-width:5.5em;font-variant-numeric:tabular-nums}
button{font:inherit;color:inherit;background:var(--panel);border:1px solid var(--line);border-radius:6px;padding:3px 10px;cursor:pointer}
:focus-visible{outline:2px solid var(--series-0);outline-offset:2px}
.scroll{overflow-x:auto}
/* A shadow at the side where more is to be seen; it lies under a cover that moves along with the content. */
.picture,.scroll{--cover:var(--background);background:linear-gradient(to right,var(--cover) 30%,transparent) left/40px 100% no-repeat local,linear-gradient(to left,var(--cover) 30%,transparent) right/40px 100% no-repeat local,linear-gradient(to right,var(--line),transparent) left/14px 100% no-repeat scroll,linear-gradient(to left,var(--line),transparent) right/14px 100% no-repeat scroll}
figure .picture,figure .scroll{--cover:var(--panel)}
table{border-collapse:collapse;font-size:14px;font-variant-numeric:tabular-nums}
th,td{padding:4px 12px 4px 0;text-align:right;vertical-align:top;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left;white-space:nowrap}
.facts td{text-align:left;min-width:11em}
.facts th{text-align:left}
details{margin-top:8px;font-size:14px}
summary{cursor:pointer;color:var(--muted)}
#tip{position:fixed;z-index:9;pointer-events:none;max-width:320px;padding:5px 9px;border-radius:5px;font-size:13px;background:var(--text);color:var(--background);display:none}
footer{max-width:1400px;margin:40px auto 24px;padding:0 20px;font-size:13px;color:var(--muted)}
@media print{
:root,:root:not([data-theme=light]),:root[data-theme=dark]{color-scheme:light;${cssVariables(LIGHT)}}
body{font-size:11px}
main,header{max-width:none;padding:0}
.slider,button,nav,details:not([open]){display:none}
.grid{columns:2;column-gap:10px}
.picture svg{min-width:0}
.still{display:block}
.live:has(+.still){display:none}
figure .picture,figure .scroll,.scroll{background:none}
figure,.absent{margin-bottom:10px;padding:8px;border:1px solid var(--line);background:none}
h2{break-after:avoid}
}
`;
