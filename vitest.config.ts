import { defineConfig } from 'vitest/config';

// unit: seconds, runs before every change. platform: other processes and drivers (Chromium, software Vulkan, CLI).
const common = { testTimeout: 60_000, hookTimeout: 60_000, pool: 'forks' as const, maxWorkers: 2 };

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...common,
          name: 'unit',
          include: ['{src,kernels,weights,test,scripts}/**/*.test.ts'],
          exclude: ['test/platform/**', 'node_modules/**'],
        },
      },
      {
        test: {
          ...common,
          name: 'golden', // every golden value on every backend: minutes on the plain JavaScript one
          include: ['test/parity.test.ts'],
          env: { PARITY: 'full' },
          testTimeout: 600_000,
        },
      },
      {
        test: {
          ...common,
          name: 'platform',
          include: ['test/platform/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});
