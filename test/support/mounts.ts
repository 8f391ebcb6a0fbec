import { execFileSync } from 'node:child_process'

/** Whether this process may mount a file system of its own: what needs a full or a read-only one cannot be tried elsewhere. */
export function canMount(): boolean {
  if (process.getuid?.() !== 0 || process.platform !== 'linux') return false
  try {
    // As root without the capability, such as in most containers, this fails.
    execFileSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
