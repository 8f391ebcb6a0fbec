const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

/** Such as `1.5 GiB`. */
export function bytesText(bytes: number): string {
  const step = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), units.length - 1)
  return `${Math.round((bytes / 1024 ** step) * 10) / 10} ${units[step]}`
}
