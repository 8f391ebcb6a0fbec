// What `fairlead/plugins` gives: the plugins that come with Fairlead.
export { mediaInfo, type MediaInfoOptions } from '../plugins/media-info.ts'
export { quota, type QuotaOptions } from '../plugins/quota.ts'
export { families, sniffType, type SniffTypeOptions } from '../plugins/sniff-type.ts'
