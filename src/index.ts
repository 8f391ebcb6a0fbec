export { defineConfig, type UserConfig } from '../config/schema.ts'
export { createFairlead, type Fairlead } from './embed.ts'
export {
  type Awaitable,
  type BootContext,
  BudgetError,
  BusyError,
  type ByteSource,
  type CreatePatch,
  type NewUpload,
  type Patch,
  type Plugin,
  type PluginContext,
  type PluginLog,
  type Properties,
  type RejectCode,
  type Tap,
  type Upload,
  type UploadContext,
} from './plugin.ts'
