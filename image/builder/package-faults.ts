/** What apt says of packages that it cannot install: one that no source has, or those that do not go together. */
const UNKNOWN = /^E: (?:Unable to locate package (\S+)|Package '?([^'\s]+)'? has no installation candidate)/gm
/** A package with its first reason; more reasons of it are on lines of their own. */
const UNMET = /^ (\S+ : .+)$/gm

/** Why packages cannot be installed, as one line out of the words of apt and mmdebstrap(1); undefined for any other failure. Pure. */
export function packageFault(words: string): string | undefined {
  const unknown = [...words.matchAll(UNKNOWN)].map(([, one, other]) => one ?? other)
  if (unknown.length > 0) return `no source has the package ${unknown.join(', ')}: look at packages.txt`
  const unmet = [...words.matchAll(UNMET)].map(([, reason]) => reason)
  return unmet.length > 0 ? `the packages do not go together: ${unmet.join('; ')}: look at packages.txt` : undefined
}
