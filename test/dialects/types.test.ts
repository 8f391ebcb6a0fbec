import { describe } from 'vitest'
import { disk } from '../support/places.ts'
import { everyFormat, typesSuite } from './suites/types.ts'

describe('files of every format that a sniffer can name', () => typesSuite(disk, everyFormat))
