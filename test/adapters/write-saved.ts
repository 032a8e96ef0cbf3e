// Writes saved/, which peft-loads.py reads and adapter-files.test.ts compares with: npx tsx test/adapters/write-saved.ts
import { fileURLToPath } from 'node:url';
import { DeviceManager } from '../../src/device.ts';
import { nodeEngines } from '../../src/platform/engines-node.ts';
import { saveAdapter } from '../../src/platform/node.ts';
import { FORMS, savedAdapter } from './saved-adapters.ts';

const manager = new DeviceManager(nodeEngines());
await manager.start(await manager.select({ device: 'cpu' }));
for (const name of Object.keys(FORMS))
  await saveAdapter(savedAdapter(name), fileURLToPath(new URL(`saved/${name}`, import.meta.url)));
