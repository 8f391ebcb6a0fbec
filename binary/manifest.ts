/** What the executable carries beside its program, and what it must find on disk before it loads any of it. */
export interface Manifest {
  /** Names the folder: another build has another one. */
  readonly id: string
  readonly files: readonly Packed[]
}

export interface Packed {
  /** Below the folder; also the name of the asset. */
  readonly path: string
  readonly size: number
  readonly sha256: string
}

/** Asset with the manifest itself. */
export const manifestName = 'manifest.json'
/** What runs in the process of the media parsers: stands in for a file, and is none. */
export const workerPath = 'plugins/media-info/worker.js'
/** Where the modules are that a configuration may import. */
export const modulesKey = 'fairlead.modules'
/** Where the program keeps the URL of the folder, which its own files take for their place. */
export const folderKey = 'fairlead.folder'
