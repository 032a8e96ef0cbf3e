/** What an element of a buffer is in WGSL. A float32 tensor may be read in fours where its size divides by four. */
export type Element = 'f32' | 'i32' | 'u32' | 'vec2<u32>' | 'vec2<f32>' | 'vec4<f32>' | 'vec4<i32>';

/** A compute shader: names of what it is given, in the order of its bindings, and the WGSL around them. */
export type Shader<I extends string = string, U extends string = string> = {
  /** The op, for labels and messages. */
  readonly name: string;
  /** Directives, such as `enable f16;`: what the device must offer. */
  readonly directives?: readonly string[];
  readonly inputs: Readonly<Record<I, Element>>;
  readonly output: Element;
  /** Sizes and scalars; reached as `u.name`. */
  readonly uniforms: Readonly<Record<U, 'u32' | 'f32'>>;
  /** Module-level WGSL with the entry point `main`. The output is `result`; every input must be used, or its binding vanishes. */
  readonly code: string;
};

/** The whole module. Inputs are bindings 0 … n−1, then `result`, then the uniforms. */
export function wgslOf({ directives = [], inputs, output, uniforms, code }: Shader): string {
  const names = Object.entries(inputs);
  const fields = Object.entries(uniforms);
  return [
    ...directives,
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

/** A variant's fields as a key: what JSON.stringify would do, in a quarter of the time, at every dispatch. */
export function fieldsKey(variant: object): string {
  let key = '';
  for (const name in variant) {
    const value = variant[name as keyof typeof variant] as unknown;
    key += typeof value === 'object' && value !== null ? `${name}(${fieldsKey(value)})` : `${name}=${value},`;
  }
  return key;
}

/** A family of shaders: `make` runs once a key, so that a shader is the same object at every call. */
export function shaderFamily<A, S extends Shader>(
  keyOf: (variant: A) => string | number,
  make: (variant: A) => S,
): (variant: A) => S {
  const known = new Map<string | number, S>();
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

export const SUM_LANES = 128;

/** WGSL: `sumOverLanes(value, lane)`, the sum of the lanes' values, the same in every lane. Called in uniform control flow. */
export const sumOverLanes = `
var<workgroup> laneSums : array<f32, ${SUM_LANES}>;
fn sumOverLanes(value : f32, lane : u32) -> f32 {
  laneSums[lane] = value;
  for (var step = ${SUM_LANES / 2}u; step > 0u; step >>= 1u) {
    workgroupBarrier();
    if (lane < step) { laneSums[lane] += laneSums[lane + step]; }
  }
  workgroupBarrier();
  let sum = laneSums[0];
  workgroupBarrier(); // the next call writes here
  return sum;
}`;

// WebGPU guarantees this many workgroups along a side; shaders with more to do stride over what is left.
const MOST_GROUPS = 65535;

/** A grid of one workgroup an item, for a shader that strides by the grid. */
export const oneGroupEach = (items: number): readonly [number] => [Math.min(items, MOST_GROUPS)];

/** A grid with a lane for each element, in workgroups of 64, for a shader that strides by the grid. */
export const oneLaneEach = (elements: number): readonly [number] => oneGroupEach(Math.ceil(elements / 64));

/** WGSL: entry point that runs `body` for every `i` below u.size, however large the grid. */
export const forEachElement = (body: string): string => `
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id : vec3<u32>, @builtin(num_workgroups) groups : vec3<u32>) {
  for (var i = id.x; i < u.size; i += groups.x * 64u) {
    ${body}
  }
}`;
