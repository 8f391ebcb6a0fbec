import { memoryLocker } from '../../src/lockers/memory.ts'
import { lockerContract } from '../contracts/locker.ts'

lockerContract('memory', memoryLocker)
