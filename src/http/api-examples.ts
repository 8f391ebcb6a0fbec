/** What the examples tell of: one file, all along. */
export const sample = {
  gateway: 'https://files.example.org',
  id: '019aa5f0-7c1e-7cc3-8f0a-2b1f5a1d9e37',
  otherId: '019aa5f0-83a2-7d41-9b6e-5c0d2e7f1a48',
  projectId: '4f6d2c1a-9b3e-4d7f-8a5c-1e2b3c4d5e6f',
  filename: 'photo.jpg',
  contentType: 'image/jpeg',
  /** Bytes. */
  size: 84_213,
  sha256: '9f64a747e1b97f131fabb6b447296c9b6f0201e79fb3c5356e6c77e89b6a806a',
  width: 3024,
  height: 4032,
  createdAt: '2026-11-21T09:30:00Z',
  updatedAt: '2026-11-21T09:30:04Z',
  downloadUrl:
    'https://files.example.org/api/v1/uploads/019aa5f0-7c1e-7cc3-8f0a-2b1f5a1d9e37/download?expires=1795257004&signature=kq3v0ZQ1p2mY8xJtW7hBnLr5sD4fGcUa9eXoVi6TyNE',
} as const

/** Values by the names of what they are examples of. */
export type Examples = Readonly<Record<string, unknown>>

/** As OpenAPI has them. */
export const examplesOf = (values: Examples): Record<string, { value: unknown }> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, { value }]))
