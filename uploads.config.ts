import { mediaInfo } from './plugins/media-info.ts'
import { quota } from './plugins/quota.ts'
import { sniffType } from './plugins/sniff-type.ts'
import { defineConfig } from './src/index.ts'

// What this installation does; docs/configuration.md lists every option. Environment variables win over this file.
export default defineConfig({
  plugins: [sniffType(), quota(), mediaInfo()],
})
