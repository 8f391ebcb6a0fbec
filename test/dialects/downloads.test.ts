import { describe } from 'vitest'
import { disk } from '../support/places.ts'
import { downloadsSuite } from './suites/downloads.ts'

describe('on disk', () => {
  downloadsSuite(disk)
})
