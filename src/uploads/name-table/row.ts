/** MIME type, format, extensions. */
export type TypeRow = readonly [contentType: string, format: string, extensions: string]
