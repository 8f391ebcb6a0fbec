import { describe } from 'vitest'
import { disk } from '../support/places.ts'
import { rawSuite } from './suites/raw.ts'

describe('on disk', () => {
  rawSuite(disk)
})
