import { describe } from 'vitest'
import { disk } from '../support/places.ts'
import { integritySuite } from './suites/integrity.ts'

describe('on disk', () => {
  integritySuite(disk)
})
