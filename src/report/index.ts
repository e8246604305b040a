/** `fltac/report`: pictures and curves of runs. Apart from `fltac`, because the plotting libraries take long to load. */
export { writeReport, type FigureFormat, type ReportOptions, type ReportOutcome } from './report.js';
export { writeRunEvents } from '../tensorboard/run-events.js';
