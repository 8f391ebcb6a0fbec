import { describe } from 'vitest'
import { accountsContract } from './records/accounts.ts'
import { batchesContract } from './records/batches.ts'
import type { Open } from './records/fresh.ts'
import { growingContract } from './records/growing.ts'
import { idempotencyContract } from './records/idempotency.ts'
import { jobsContract } from './records/jobs.ts'
import { listsContract } from './records/lists.ts'
import { processesContract } from './records/processes.ts'
import { putsContract } from './records/puts.ts'
import { repairContract } from './records/repair.ts'
import { uploadsContract } from './records/uploads.ts'

/** What every records backend keeps. `open` makes an empty database each time. */
export function recordsContract(name: string, open: Open): void {
  describe(`${name} keeps the records contract`, () => {
    accountsContract(open)
    uploadsContract(open)
    putsContract(open)
    growingContract(open)
    batchesContract(open)
    idempotencyContract(open)
    listsContract(open)
    jobsContract(open)
    repairContract(open)
    processesContract(open)
  })
}
