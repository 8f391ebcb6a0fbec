import assert from 'node:assert'

export interface Family {
  readonly type: string
  readonly samples: Map<string, number>
}

/** What Prometheus scraped: every sample by its name and labels, such as `fairlead_jobs{state="failed"}`. */
export interface Scrape {
  readonly families: ReadonlyMap<string, Family>
  readonly samples: ReadonlyMap<string, number>
}

const namePattern = '[a-zA-Z_:][a-zA-Z0-9_:]*'
const helpLine = new RegExp(`^# HELP (${namePattern}) \\S.*$`)
const typeLine = new RegExp(`^# TYPE (${namePattern}) (counter|gauge|histogram|summary|untyped)$`)
const labelPattern = '[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\[\\\\"n])*"'
const sampleLine = new RegExp(
  `^(${namePattern})(?:\\{(${labelPattern}(?:,${labelPattern})*)\\})? ([+-]?(?:\\d+(?:\\.\\d+)?(?:e[+-]?\\d+)?|Inf)|Nan)$`,
)

/** Reads the text format 0.0.4, strictly: @throws when a line, an order or a histogram is not as it has to be. */
export function parseExposition(text: string): Scrape {
  assert(text.endsWith('\n'), 'the last line does not end')
  const families = new Map<string, Family>()
  const samples = new Map<string, number>()
  const helped = new Set<string>()
  let current: string | undefined
  for (const line of text.split('\n').filter((one) => one !== '')) {
    const help = helpLine.exec(line)?.[1]
    const [, typed, type = ''] = typeLine.exec(line) ?? []
    const [, name = '', labels = '', value = ''] = sampleLine.exec(line) ?? []
    if (help !== undefined) {
      assert(!helped.has(help), `two HELP of ${help}`)
      helped.add(help)
      current = undefined
    } else if (typed !== undefined) {
      assert(helped.has(typed) && !families.has(typed), `TYPE of ${typed} at the wrong place`)
      families.set(typed, { type, samples: new Map() })
      current = typed
    } else {
      assert(name !== '', `no line of the format: ${line}`)
      const family = families.get(current ?? '')
      assert(current && family, `a sample without TYPE: ${line}`)
      const suffixes = family.type === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']
      assert(
        suffixes.some((suffix) => name === current + suffix),
        `a sample of another family: ${line}`,
      )
      const key = `${name}{${sorted(labels)}}`
      assert(!samples.has(key), `twice: ${key}`)
      samples.set(key, numberOf(value))
      family.samples.set(key, numberOf(value))
    }
  }
  for (const [name, { type, samples: own }] of families) {
    if (type === 'counter') assert(name.endsWith('_total'), `${name} is a counter`)
    if (type === 'histogram') checkHistogram(name, own)
  }
  return { families, samples }
}

const sorted = (labels: string): string =>
  (labels.match(new RegExp(labelPattern, 'g')) ?? []).toSorted((a, b) => a.localeCompare(b)).join(',')

const numberOf = (value: string): number =>
  value === 'Nan' ? Number.NaN : value.endsWith('Inf') ? (value.startsWith('-') ? -Infinity : Infinity) : Number(value)

/** Buckets rise, the last one is the count, and every series has its sum. */
function checkHistogram(name: string, samples: ReadonlyMap<string, number>): void {
  const series = new Map<string, [number, number][]>()
  for (const [key, count] of samples) {
    const [, labels = ''] = /_bucket\{(.*)\}$/.exec(key) ?? []
    const bound = /le="([^"]+)"/.exec(labels)?.[1]
    if (bound === undefined) continue
    const rest = labels.replace(/,?le="[^"]+"/, '').replace(/^,/, '')
    series.set(rest, [...(series.get(rest) ?? []), [numberOf(bound === '+Inf' ? 'Inf' : bound), count]])
  }
  for (const [labels, buckets] of series) {
    for (const [i, [bound, count]] of buckets.entries()) {
      const [before, counted] = buckets[i - 1] ?? [-Infinity, 0]
      assert(bound > before && count >= counted, `${name}: the buckets do not rise`)
    }
    const [last = 0, count] = buckets.at(-1) ?? []
    assert(last === Infinity && count === samples.get(`${name}_count{${labels}}`), `${name}: count of {${labels}}`)
    assert(samples.has(`${name}_sum{${labels}}`), `${name}: sum of {${labels}}`)
  }
}
