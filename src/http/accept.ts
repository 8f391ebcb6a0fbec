const answerTypes = ['application/json', 'application/problem+json']

/**
 * Whether an Accept header lets an answer be JSON. Of a range's parameters only `q` counts: `charset=utf-8` says nothing that could exclude
 * JSON.
 */
export function acceptsJson(header: string): boolean {
  const ranges = header.split(',').flatMap((text) => {
    const [type = '', ...parameters] = text.split(';').map((part) => part.trim().toLowerCase())
    if (type === '') return []
    const weight = parameters.map((parameter) => /^q\s*=\s*([\d.]+)$/.exec(parameter)?.[1]).find((q) => q !== undefined)
    return [{ type, wanted: weight === undefined || Number(weight) > 0 }]
  })
  if (ranges.length === 0) return true
  return answerTypes.some((type) => {
    // The most exact range decides.
    for (const name of [type, 'application/*', '*/*']) {
      const named = ranges.filter((range) => range.type === name)
      if (named.length > 0) return named.some(({ wanted }) => wanted)
    }
    return false
  })
}
