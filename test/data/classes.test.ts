import { describe, expect, it } from 'vitest';
import { classesOf, numberLabels } from '../../src/data/classes.js';
import { selectTable, type Table } from '../../src/data/table.js';

/** A table whose labels are these, as a file has them. */
function tableOf(...labels: string[]): Table {
  const labelNames = [...new Set(labels)];
  return {
    rows: labels.length,
    texts: [],
    labels: Int32Array.from(labels, (label) => labelNames.indexOf(label)),
    labelNames,
    sources: [
      { path: 'a.csv', rows: 2 },
      { path: 'b.csv', rows: labels.length - 2 },
    ],
  };
}

function numbered(listed: Parameters<typeof classesOf>[1], ...labels: string[]) {
  const table = tableOf(...labels);
  const classes = classesOf('t', listed, table);
  return { classes, labels: [...numberLabels('t', table, classes).labels] };
}

describe('classes', () => {
  it('are the different names of the training rows in sorted order', () => {
    expect(numbered(undefined, 'good', 'bad', 'Ugly', 'good')).toEqual({
      classes: { count: 3, names: ['Ugly', 'bad', 'good'] },
      labels: [2, 1, 0, 2],
    });
  });

  it('are numbers up to the largest where all labels are numbers', () => {
    expect(numbered(undefined, '0', '4', '1')).toEqual({ classes: { count: 5 }, labels: [0, 4, 1] });
    expect(numbered(7, '0', '4', '1')).toEqual({ classes: { count: 7 }, labels: [0, 4, 1] });
  });

  it('are those listed, by name or else by number', () => {
    expect(numbered(['no', 'yes'], 'yes', 'no', 'yes').labels).toEqual([1, 0, 1]);
    expect(numbered(['no', 'yes'], '1', '0', '1').labels).toEqual([1, 0, 1]);
    expect(numbered([3, 1, 2], '1', '2', '3').labels).toEqual([1, 2, 0]);
    expect(numbered([false, true], 'true', 'false').labels).toEqual([1, 0]);
  });

  it('are not made of the -1 that rows without a label have', () => {
    const message = 'b.csv: row 0 has label -1 (as rows without a label have); task t needs labels from 0 up';
    expect(() => classesOf('t', undefined, tableOf('0', '1', '-1'))).toThrow(message);
    expect(numbered([-1, 0, 1], '0', '1', '-1').labels).toEqual([1, 2, 0]);
    expect(numbered(undefined, '-1', 'no').classes.names).toEqual(['-1', 'no']);
  });

  it('are two at least', () => {
    expect(() => classesOf('t', undefined, tableOf('x', 'x', 'x'))).toThrow(
      'task t: expected two classes or more, found the label "x" alone in a.csv, b.csv',
    );
  });

  it.each([
    [
      ['no', 'yes'],
      ['yes', 'no', 'perhaps'],
      'b.csv: row 0 has label "perhaps"; task t has the classes no, yes (or 0 to 1)',
    ],
    [['no', 'yes'], ['0', '1', '2'], 'b.csv: row 0 has label "2"; task t has the classes no, yes (or 0 to 1)'],
    [2, ['0', '2'], 'a.csv: row 1 has label "2"; task t has the classes 0 to 1'],
    [3, ['0', '01'], 'a.csv: row 1 has label "01"; task t has the classes 0 to 2'],
    [3, ['0', '-1'], 'a.csv: row 1 has label "-1"; task t has the classes 0 to 2'],
  ] as const)('%o: a label that is none of them is named with file and row', (listed, labels, message) => {
    const table = tableOf(...labels);
    expect(() => numberLabels('t', table, classesOf('t', listed, table))).toThrow(message);
  });

  it('of rows that were selected name the row of the file', () => {
    const table = selectTable(tableOf('0', '1', '0', '5'), Int32Array.of(2, 3, 1));
    expect(() => numberLabels('t', table, { count: 2 })).toThrow('b.csv: row 1 has label "5"');
  });
});
