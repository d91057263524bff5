// What a dashboard is to Grafana: its own types, of which a file may leave out what has a default.
import type { Dashboard, Panel, RowPanel } from '@grafana/schema/dist/types/raw/dashboard/x/types.gen';
import type { Options as BarGauge } from '@grafana/schema/dist/types/raw/composable/bargauge/panelcfg/x/types.gen';
import type { Options as Stat } from '@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen';
import type { FieldConfig as TableField, Options as Table } from '@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen';
import type { FieldConfig as TimeSeriesField, Options as TimeSeries } from '@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen';

// JSON has the values of enums, not their names.
type Plain<T> = T extends string
  ? `${T}`
  : T extends readonly (infer Each)[]
    ? Plain<Each>[]
    : T extends object
      ? { [Name in keyof T]?: Plain<T[Name]> }
      : T;

type Shown<Type extends string, Options, Field> = Omit<Plain<Panel>, 'type' | 'options' | 'fieldConfig'> & {
  type: Type;
  title: string;
  options?: Plain<Options>;
  fieldConfig?: Omit<Plain<NonNullable<Panel['fieldConfig']>>, 'defaults'> & {
    defaults?: Omit<Plain<NonNullable<Panel['fieldConfig']>['defaults']>, 'custom'> & { custom?: Plain<Field> };
  };
};

type AnyPanel =
  | Shown<'bargauge', BarGauge, never>
  | Shown<'stat', Stat, never>
  | Shown<'table', Table, TableField>
  | Shown<'timeseries', TimeSeries, TimeSeriesField>
  | (Omit<Plain<RowPanel>, 'type'> & { type: 'row'; title: string });

export type Shipped = Omit<Plain<Dashboard>, 'panels'> & { uid: string; title: string; panels: AnyPanel[] };
