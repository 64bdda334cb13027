orrery simulate --modle deepseek-v3
