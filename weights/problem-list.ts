/** One message for many problems: every one counted, the first `limit` printed, a line each.   (style-examples, section 3) */
export function listProblems(title: string, problems: readonly string[], limit = 40): string {
  const shown = problems.slice(0, limit).map((line) => `  ${line}`);
  if (problems.length > limit) shown.push(`  ... and ${problems.length - limit} more`);
  return [title, ...shown].join('\n');
}

/** `1 tensor`, `3 tensors`. */
export const counted = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? '' : 's'}`;
