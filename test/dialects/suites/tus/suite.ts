import { expect, it } from 'vitest'
import type { Place } from '../../../support/places.ts'
import { appendingSuite } from './appending.ts'
import { tusBench } from './bench.ts'
import { checksumSuite } from './checksum.ts'
import { concatenationSuite } from './concatenation.ts'
import { crashSuite } from './crash.ts'
import { creationSuite } from './creation.ts'
import { edgesSuite } from './edges.ts'
import { expirationSuite } from './expiration.ts'
import { endingsSuite, holdingsSuite } from './holdings.ts'
import { locksSuite } from './locks.ts'
import { modelSuite } from './model.ts'
import { mannersSuite } from './manners.ts'
import { metadataSuite } from './metadata.ts'
import { protocolSuite } from './protocol.ts'
import { tenancySuite } from './tenancy.ts'
import { terminationSuite } from './termination.ts'
import { verdictSuite } from './verdict.ts'

/** What `/files` does wherever the files are. */
export function tusSuite(place: Place): void {
  const bench = tusBench(place)
  protocolSuite(bench)
  creationSuite(bench)
  metadataSuite(bench)
  appendingSuite(bench)
  checksumSuite(bench)
  concatenationSuite(bench)
  terminationSuite(bench)
  verdictSuite(bench)
  locksSuite(bench)
  modelSuite(bench)
  edgesSuite(bench)
  expirationSuite(bench)
  tenancySuite(bench)
  mannersSuite(bench)
  crashSuite(bench)
  holdingsSuite(bench)
  endingsSuite(bench)

  it('every answer says which version it speaks, and is never cached', () => {
    expect(bench.breaches).toEqual([])
  })

  it('the records are still right by their own account', async () => {
    expect((await bench.main.gateway().run('doctor')).json).toMatchObject({ ok: true, findings: [] })
  })
}
