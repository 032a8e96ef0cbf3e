/** Whether the checkpoint says that it was never trained. */
export async function saysRandom(model: string | undefined): Promise<boolean> {
  const { nodeDoor } = await import('../platform/node.ts');
  const { readJson } = await import('../../weights/read-text.ts');
  const tree = model === undefined ? await nodeDoor.openDefault() : await nodeDoor.openTree(model);
  try {
    const config = (await readJson(tree, 'config.json')) as { random_weights?: unknown };
    return config.random_weights === true;
  } finally {
    await tree.close();
  }
}
