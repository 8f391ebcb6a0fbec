import { defineConfig } from 'fairlead'
import { quota, sniffType } from 'fairlead/plugins'
import { wordCount } from './word-count.ts'

export default defineConfig({
  plugins: [sniffType(), quota(), wordCount({ maxWords: 100 })],
})
