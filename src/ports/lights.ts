export const LIGHT_ROLES = ['status', 'activity', 'fault'] as const

/** What a light is for: everything, only work that goes on, only what is wrong. */
export type LightRole = (typeof LIGHT_ROLES)[number]

/** Which lights are lit. */
export type Lit = Readonly<Record<LightRole, boolean>>

/** The lights of this board. A light that is not available stays dark: nothing here fails or blocks. */
export interface Lights {
  set(lit: Lit): void
  /** Darkens all of them, or gives them back to the kernel. */
  end(): void
}
