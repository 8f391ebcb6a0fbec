import { describe } from 'vitest'
import { disk } from '../support/places.ts'
import { presignedSuite } from './suites/presigned.ts'

describe('on disk', () => {
  presignedSuite(disk)
})
