/** What an element of a buffer is in WGSL. A float32 tensor may be read in fours where its size divides by four. */
export type Element = 'f32' | 'i32' | 'u32' | 'vec2<u32>' | 'vec2<f32>' | 'vec4<f32>' | 'vec4<i32>';

/** A compute shader: names of what it is given, in the order of its bindings, and the WGSL around them. */
export type Shader<I extends string = string, U extends string = string> = {
  /** The op, for labels and messages. */
  readonly name: string;
  readonly inputs: Readonly<Record<I, Element>>;
  readonly output: Element;
  /** Sizes and scalars; reached as `u.name`. */
  readonly uniforms: Readonly<Record<U, 'u32' | 'f32'>>;
  /** Module-level WGSL with the entry point `main`. The output is `result`; every input must be used, or its binding vanishes. */
  readonly code: string;
};

/** The whole module. Inputs are bindings 0 … n−1, then `result`, then the uniforms. */
export function wgslOf({ inputs, output, uniforms, code }: Shader): string {
  const names = Object.entries(inputs);
  const fields = Object.entries(uniforms);
  return [
    ...names.map(
      ([name, element], i) => `@group(0) @binding(${i}) var<storage, read> ${name} : array<${element}>;`,
    ),
    `@group(0) @binding(${names.length}) var<storage, read_write> result : array<${output}>;`,
    ...(fields.length > 0
      ? [
          `struct Uniforms { ${fields.map(([name, type]) => `${name} : ${type}`).join(', ')} }`,
          `@group(0) @binding(${names.length + 1}) var<uniform> u : Uniforms;`,
        ]
      : []),
    code,
  ].join('\n');
}

/** A family of shaders: `make` runs once a key, so that a shader is the same object at every call. */
export function shaderFamily<A, S extends Shader>(
  keyOf: (variant: A) => string,
  make: (variant: A) => S,
): (variant: A) => S {
  const known = new Map<string, S>();
  return (variant) => {
    const key = keyOf(variant);
    let shader = known.get(key);
    if (!shader) {
      shader = make(variant);
      known.set(key, shader);
    }
    return shader;
  };
}

/** 0, 1, … n−1, for code that is written out. */
export const count = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i);
