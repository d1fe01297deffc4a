/** What the tests here read of the reported properties. */
export interface Reported {
  readonly deviceUpdate?: {
    readonly agent?: {
      readonly state?: number
      readonly workflow?: { readonly id?: string }
      readonly lastInstallResult?: {
        readonly resultCode?: number
        readonly extendedResultCodes?: string
        readonly resultDetails?: string | null
        readonly stepResults?: Readonly<Record<string, { readonly resultCode: number }>>
      }
    }
  }
}
