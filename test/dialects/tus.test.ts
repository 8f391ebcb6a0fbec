import { describe } from 'vitest'
import { disk } from '../support/places.ts'
import { tusSuite } from './suites/tus/suite.ts'

describe('on disk', () => {
  tusSuite(disk)
})
