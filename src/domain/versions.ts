/** Compares versions of two to four numbers separated by dots; a missing number is 0. */
export function compareVersions(one: string, two: string): number {
  const [left, right] = [one, two].map(text => text.split('.').map(Number)) as [number[], number[]]
  for (let at = 0; at < Math.max(left.length, right.length); at++) {
    const difference = (left[at] ?? 0) - (right[at] ?? 0)
    if (difference !== 0) return Math.sign(difference)
  }
  return 0
}
